"""The default agent: takes drink orders from a menu, offline."""
