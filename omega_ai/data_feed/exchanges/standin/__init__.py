"""Stand-in exchanges: each venue's protocol over real sockets, misbehaving on demand, with the truth at
hand."""
