"""The code of the how-to pages, which show these modules."""
