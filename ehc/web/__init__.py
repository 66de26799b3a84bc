"""HTTP manners shared by every room."""
