// The camera of the page. gradio calls this once, with `element`, `props`, `server` and `trigger` of its component.
const MAX_SIDE = 640; // pixels: networks use fewer
const FADE = 600; // milliseconds in which the weight of an old frame falls to 1/e
const MAX_BARS = 5;

const [video, button, shoot, devices, bars, facts, status] = [
  "video", "switch", "shoot", "devices", "bars", "facts", "status",
].map((part) => element.querySelector(`[data-part=${part}]`));
const root = element.querySelector(".zoo-camera");
// Not among `props`: gradio replaces all of them when `target` changes, which may be before this is called.
const [shots, interval] = [root.dataset.burst, root.dataset.interval].map(Number);
const canvas = document.createElement("canvas");
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
let stream = null;
let smoothed = null; // probabilities, averaged over recent frames

async function start(device) {
  stop();
  if (!navigator.mediaDevices) {
    status.textContent = "Browsers allow camera access only over HTTPS or on localhost.";
    return;
  }
  const size = { width: { ideal: MAX_SIDE }, height: { ideal: 480 } };
  const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  status.textContent = "Allow camera access if the browser asks.";
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which } });
    const [track] = stream.getVideoTracks();
    const { deviceId, facingMode } = track.getSettings();
    track.addEventListener("ended", stop); // unplugged
    video.classList.toggle("zoo-mirrored", facingMode !== "environment");
    root.dataset.on = "";
    button.textContent = "Stop camera";
    video.srcObject = stream;
    await video.play();
    await list(deviceId);
  } catch (error) {
    stop();
    const reasons = { NotAllowedError: "Camera access was denied.", NotFoundError: "No camera found." };
    status.textContent = reasons[error.name] ?? `The camera could not be opened: ${error.message}`;
    return;
  }
  shoot.textContent = `Take ${shots} photos`;
  shoot.hidden = !shots;
  status.textContent = "";
  watch(stream);
}

function stop() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  delete root.dataset.on;
  button.textContent = "Start camera";
  shoot.hidden = devices.hidden = true;
}

async function list(current) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
  devices.replaceChildren(
    ...cameras.map((each, n) => new Option(each.label || `Camera ${n + 1}`, each.deviceId)),
  );
  devices.value = current;
  devices.hidden = cameras.length < 2;
}

// Runs as long as `own` is the current stream. Stops the camera when its tab is left.
async function watch(own) {
  let answered = 0;
  let rate = 0;
  while (stream === own) {
    const began = performance.now();
    if (!element.offsetParent) return stop();
    if (!shots && !document.hidden) {
      const answer = await send();
      const now = performance.now();
      if (stream !== own) return;
      if (answer.probabilities) {
        rate = answered ? 0.8 * (rate || 1000 / (now - answered)) + 200 / (now - answered) : 0;
        show(answer.probabilities, now - answered);
        answered = now;
        const latency = `${Math.round(now - began)} ms latency`;
        const frames = rate && `${rate.toFixed(1)} frames per second`;
        facts.textContent = `${[frames, latency].filter(Boolean).join(", ")} ${answer.message ?? ""}`;
      }
    }
    await sleep(Math.max(interval - (performance.now() - began), 0));
  }
}

async function burst() {
  const own = stream;
  shoot.disabled = true;
  for (let shot = 1; shot <= shots && stream === own; shot++) {
    const answer = await send();
    if (answer.error) break;
    status.textContent = `${shot} of ${shots}: ${answer.message}`;
    trigger("input");
    await sleep(interval);
  }
  shoot.disabled = false;
}

async function send() {
  const scale = Math.min(1, MAX_SIDE / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  let answer;
  try {
    answer = await server.frame({ ...props.target, photo: canvas.toDataURL("image/jpeg", 0.9) });
  } catch {
    answer = { error: "The server does not respond." };
  }
  status.textContent = answer.error ?? "";
  if (answer.error) await sleep(500);
  return answer;
}

// Exponential smoothing by time: the longer ago the last frame, the more the new one counts. Classes of another model
// start anew.
function show(probabilities, elapsed) {
  const names = Object.keys(probabilities);
  if (!smoothed || names.some((name) => !(name in smoothed))) smoothed = probabilities;
  const weight = 1 - Math.exp(-elapsed / FADE);
  smoothed = Object.fromEntries(
    names.map((name) => [name, smoothed[name] + weight * (probabilities[name] - smoothed[name])]),
  );
  const ranked = Object.entries(smoothed).sort((a, b) => b[1] - a[1]).slice(0, MAX_BARS);
  bars.replaceChildren(...ranked.map(([name, probability]) => bar(name, probability)));
}

function bar(name, probability) {
  const row = document.createElement("li");
  const [label, percent] = [name, `${Math.round(100 * probability)} %`].map((text) => {
    const part = document.createElement("span");
    part.textContent = text;
    return part;
  });
  row.append(label, percent);
  row.style.setProperty("--share", `${100 * probability}%`);
  return row;
}

button.addEventListener("click", () => (stream ? stop() : start()));
devices.addEventListener("change", () => start(devices.value));
shoot.addEventListener("click", burst);
