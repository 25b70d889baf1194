"""The unit of work on one machine and on many: a shard, a list of sounds or videos whose results are one file."""
