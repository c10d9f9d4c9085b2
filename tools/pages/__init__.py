"""Files that are made from the code: AsyncAPI, schemas, problem codes, rights, permissions, settings."""
