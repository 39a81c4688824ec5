"""Readers of bank files: bytes in, canonical statements out.

They use no database, no clock and no network.
"""
