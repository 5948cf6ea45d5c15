"""The networks. `catalog` lists them without torch; `build` makes them with it."""
