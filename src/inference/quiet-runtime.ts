/**
 * ONNX Runtime sends usage data to its maker unless the environment says otherwise when its library is loaded (since 1.29,
 * outside of Windows; https://github.com/microsoft/onnxruntime/pull/27379). A server that watches people must not do that
 * behind their backs: code that is about to load the library, or to start a thread or process that will, calls this first.
 *
 * On the main thread only: worker threads have a copy of the environment, which native code does not see. A value that
 * the user has set is kept.
 */
export function keepRuntimeQuiet(): void {
  process.env['ORT_DISABLE_TELEMETRY'] ??= '1';
}
