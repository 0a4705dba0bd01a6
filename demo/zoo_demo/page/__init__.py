"""What all tabs share: theme, camera, uploads, and how handlers call models and show errors."""
