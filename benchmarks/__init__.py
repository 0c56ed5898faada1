"""How much the platform takes, measured through its public interface on this machine."""
