"""MediaPipe's networks for people, faces and hands, which run in an environment of their own."""
