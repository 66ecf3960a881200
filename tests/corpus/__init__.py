"""Pictures and URLs made by code, with what a server has to make of each."""
