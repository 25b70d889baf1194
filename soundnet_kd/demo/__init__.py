"""A demonstration world: made-up videos, frames and sounds that belong together."""
