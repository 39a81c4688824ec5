"""The generator of the reference: lists in the code are written into the documents.

A generated block stands between `<!-- generated: NAME -->` and `<!-- end -->`. `make docs` renews
every block; a test fails while one is stale.
"""
