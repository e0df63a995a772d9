"""The profiles that come with the test kit: TOML files, as anybody writes them."""
