"""One file a method; found by listing this folder, nothing to register elsewhere."""

if __name__ != "regunlearn.methods":
    raise ImportError(
        f"import regunlearn.methods, not {__name__}: a second copy would register every method twice"
    )
