"""What a store is enough for, a page each: the code of the how-to pages."""
