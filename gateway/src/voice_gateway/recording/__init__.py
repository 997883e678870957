"""A timeline of every call: segments that workers write (`segments`), and what is made of them (`reading`)."""
