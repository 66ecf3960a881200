"""Good request bodies, spoilt by the thousand, and what a server owes its client whatever it is sent."""
