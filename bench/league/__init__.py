"""The same spoken orders over the same links through this gateway and through its peers."""
