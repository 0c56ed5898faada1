// node server.mjs PORT BACK: an OpenID provider that lets in whoever names himself; one client, `qunce`.
import { Provider } from "oidc-provider";

const [port, back] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "qunce", client_secret: "client-secret", redirect_uris: [back] }],
  pkce: { required: () => true },
});
provider.listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
