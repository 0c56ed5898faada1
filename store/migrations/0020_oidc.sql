-- Logins by the word of an identity provider: whom it vouches for must have an account that names him.

CREATE FUNCTION person_of_subject(given text) RETURNS TABLE (person_id integer, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    SELECT person_id, name FROM person WHERE oidc_subject = given AND disabled_at IS NULL
$$;
COMMENT ON FUNCTION person_of_subject(text) IS 'The active person of an issuer and subject, joined by a blank; no row = none';
