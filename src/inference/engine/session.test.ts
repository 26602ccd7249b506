import { expect, test } from 'vitest';
import { nodesByProvider } from './session.ts';

test('nodes of a profile are counted once each, by the provider that ran them', () => {
  const event = (name: string, provider?: string, index = '1') => ({
    cat: 'Node',
    name,
    args: { node_index: index, ...(provider && { provider }) },
  });
  expect(
    nodesByProvider([
      { cat: 'Session', name: 'model_loading_uri' },
      event('conv_kernel_time', 'CUDAExecutionProvider'),
      event('conv_kernel_time', 'CUDAExecutionProvider'),
      event('conv_fence_before', 'CUDAExecutionProvider'),
      event('relu_kernel_time', 'CPUExecutionProvider', '2'),
      event('add_kernel_time', 'CPUExecutionProvider', '3'),
      event('mul_kernel_time', 'VitisAIExecutionProvider', '4'),
      event('odd_kernel_time'),
    ]),
  ).toEqual({ cuda: 1, cpu: 2, VitisAIExecutionProvider: 1 });
});
