"""Work that takes several transactions, or the network between them."""
