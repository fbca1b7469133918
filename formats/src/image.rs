//! Names of images, as users write them.

/// The registry an image belongs to: that of Docker when its name has none. An id names no registry.
pub fn registry(image: &str) -> Option<&str> {
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = (image.starts_with("sha256:") || matches!(hex.len(), 12 | 64))
        && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if image.is_empty() || is_id {
        return None;
    }
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => Some(first),
        _ => Some("docker.io"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_images() {
        for (image, expected) in [
            ("nginx", Some("docker.io")),
            ("library/nginx:1", Some("docker.io")),
            ("registry.example:5000/team/app:1@sha256:17", Some("registry.example:5000")),
            ("localhost/app", Some("localhost")),
            ("sha256:17", None),
            ("c0668cbbb4f2", None),
            ("", None),
        ] {
            assert_eq!(registry(image), expected, "{image}");
        }
    }
}
