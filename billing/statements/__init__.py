"""Bank statement readers: bytes in, canonical statements out; no database, no clock, no network."""
