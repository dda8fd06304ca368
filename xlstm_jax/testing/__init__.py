"""What a new part is held to, for the tests here and for parts that live elsewhere, as in a notebook."""
