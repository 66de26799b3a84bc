"""What the field's own words and numbers mean: identity documents, names, code tables, masking, ids. Pure."""
