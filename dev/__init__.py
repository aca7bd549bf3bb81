"""What makes and shows this project on a developer's machine; none of it is packaged."""
