"""HTTP pull: platforms of lead units that are asked page by page."""
