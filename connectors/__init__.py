"""How to pull from equipment and from lead units' platforms: one folder a protocol."""
