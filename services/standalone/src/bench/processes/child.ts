/** Processes that answer one message with one. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A process beside ours: what takes part in a measurement must not share its event loop with the measuring. */
export class Child<Task extends object, Answer> {
  readonly #process: ChildProcess;

  constructor(file: './load.ts' | './base.ts') {
    // Source and compiled program lie in the same order.
    const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
    this.#process = fork(fileURLToPath(new URL(file.replace('.ts', extension), import.meta.url)), { serialization: 'advanced' });
  }

  /** One at a time. */
  async ask(task: Task): Promise<Answer> {
    return await new Promise<Answer>((answered, failed) => {
      const ended = (code: number | null): void => failed(new Error(`a process of the benchmark ended with ${code}`));
      this.#process.once('exit', ended);
      this.#process.once('message', (answer) => {
        this.#process.off('exit', ended);
        answered(answer as Answer);
      });
      this.#process.send(task);
    });
  }

  end(): void {
    this.#process.kill();
  }
}
