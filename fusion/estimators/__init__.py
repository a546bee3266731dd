"""What a user fits, saves and loads, by scikit-learn's rules; holds no formula of its own."""
