"""What a recogniser makes of a spoken recording whose frames met a link."""
