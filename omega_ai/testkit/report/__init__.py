"""Reports: one result, shown to a person, and written for machines and for a browser."""
