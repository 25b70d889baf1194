"""The sections of the page: what each shows, as data for its script."""
