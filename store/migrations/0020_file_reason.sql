-- Why what an uploaded file corrects is corrected.
ALTER TABLE file_upload
    ADD COLUMN reason  text,
    ADD COLUMN voucher text;
COMMENT ON COLUMN file_upload.reason IS 'why its corrections are made, as the sender says; null = none given';
COMMENT ON COLUMN file_upload.voucher IS 'number of the document that proves it; null = none given';
