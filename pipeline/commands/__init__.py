"""Commands that span rooms; no room imports them."""
