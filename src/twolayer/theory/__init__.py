"""What theorems say; never imports what training does."""
