"""What a release is made of: wheel and sdist, the places that state its version, its bill of materials, licences."""
