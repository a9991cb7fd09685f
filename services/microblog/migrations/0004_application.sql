-- The program that a post was written with, as it named itself to us. Kept beside the bytes like the
-- contributor, for our own clients: never replicated, gone with the body. Posts of before say none.
ALTER TABLE entry ADD COLUMN app_name text, ADD COLUMN app_website text;
