"""The methods that come with the package: one file each, called as its method is called."""
