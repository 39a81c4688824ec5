-- The roles of docker-compose.yml's Postgres. The image runs this once, when its data folder is empty.
--
-- The worker's login is no superuser: it owns the database, in which it makes our tables. The
-- superuser has no password, so it logs in from inside the container alone:
--   docker compose exec postgres psql -U postgres app
\getenv password POSTGRES_PASSWORD
-- Owns the schema `billing` and can't log in.
CREATE ROLE billing_owner NOLOGIN;
CREATE ROLE billing_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
GRANT billing_owner TO billing_worker;
ALTER DATABASE app OWNER TO billing_worker;
ALTER ROLE postgres PASSWORD NULL;
