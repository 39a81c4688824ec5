"""The generator of the reference: what the code lists is written into the documents from the code.

A generated block stands between `<!-- generated: NAME -->` and `<!-- end -->`. `make docs` renews
every block; a test fails while one is stale.
"""
