"""The commands, a file each, the public function first; the other rooms are libraries that no command lives in."""
