// How every check connects: by the names of a transport and a protocol.
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";
import { MessagePackHubProtocol } from "@microsoft/signalr-protocol-msgpack";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function until(condition, what, ms = 5000) {
  for (const end = Date.now() + ms; !(await condition()); await sleep(5)) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
  }
}

export function build(url, transport, protocol, options = {}) {
  const { token = "token-of-ann", reconnect, stateful, ...http } = options;
  let builder = new HubConnectionBuilder()
    .withUrl(url, { transport: HttpTransportType[transport], accessTokenFactory: () => token, ...http })
    .configureLogging(LogLevel.None);
  if (protocol === "messagepack") builder = builder.withHubProtocol(new MessagePackHubProtocol());
  if (reconnect) builder = builder.withAutomaticReconnect(reconnect);
  if (stateful) builder = builder.withStatefulReconnect();
  return builder.build();
}
