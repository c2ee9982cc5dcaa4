"""Plugins: the hooks that they implement, what they offer, and the names remembered of them."""
