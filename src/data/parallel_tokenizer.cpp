#include "src/data/parallel_tokenizer.hpp"

#include "core/error.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

namespace sluice {

namespace {

struct Job {
    TokenizedBatch batch;
    std::exception_ptr error;
    bool done = false;
};

void tokenize(const Tokenizer& tokenizer, TokenizedBatch& batch)
{
    for (const TextPiece& piece : batch.pieces) {
        tokenizer.encode(piece.text, batch.tokens);
        batch.ends.push_back(batch.tokens.size());
    }
}

} // namespace

struct ParallelTokenizer::Workers {
    const Tokenizer& tokenizer;
    std::mutex mutex;
    std::condition_variable work_is_there, job_is_done;
    std::deque<std::shared_ptr<Job>> waiting;   ///< for a thread
    std::deque<std::shared_ptr<Job>> in_flight; ///< in the order of submit()
    bool stopping = false;
    std::vector<std::thread> threads;

    Workers(const Tokenizer& with, int num_threads) : tokenizer(with)
    {
        SLUICE_CHECK(num_threads >= 1, num_threads << " threads");
        try {
            while (threads.size() < static_cast<std::size_t>(num_threads))
                threads.emplace_back([this] { run(); });
        } catch (const std::system_error& error) {
            const std::size_t num_started = threads.size();
            end();
            throw usage_error("only " + std::to_string(num_started) + " of " +
                                  std::to_string(num_threads) +
                                  " threads could be started: " + error.what(),
                              "--threads", "ask for fewer");
        }
    }
    ~Workers() { end(); }

    void end()
    {
        {
            const std::lock_guard lock(mutex);
            stopping = true;
        }
        work_is_there.notify_all();
        for (std::thread& thread : threads)
            thread.join();
        threads.clear();
    }

    void run()
    {
        std::unique_lock lock(mutex);
        for (;;) {
            work_is_there.wait(lock, [&] { return stopping || !waiting.empty(); });
            if (stopping)
                return;
            const std::shared_ptr<Job> job = std::move(waiting.front());
            waiting.pop_front();
            lock.unlock();
            try {
                tokenize(tokenizer, job->batch);
            } catch (...) {
                job->error = std::current_exception();
            }
            lock.lock();
            job->done = true;
            job_is_done.notify_one();
        }
    }
};

ParallelTokenizer::ParallelTokenizer(const Tokenizer& tokenizer, int num_threads)
    : workers_(std::make_unique<Workers>(tokenizer, num_threads))
{
}

ParallelTokenizer::~ParallelTokenizer() = default;

std::size_t ParallelTokenizer::num_in_flight() const { return workers_->in_flight.size(); }
std::size_t ParallelTokenizer::max_in_flight() const { return 2 * workers_->threads.size() + 2; }

void ParallelTokenizer::submit(std::vector<TextPiece> pieces)
{
    auto job = std::make_shared<Job>();
    job->batch.pieces = std::move(pieces);
    workers_->in_flight.push_back(job);
    {
        const std::lock_guard lock(workers_->mutex);
        workers_->waiting.push_back(std::move(job));
    }
    workers_->work_is_there.notify_one();
}

TokenizedBatch ParallelTokenizer::take()
{
    SLUICE_CHECK(!workers_->in_flight.empty(), "nothing in flight");
    const std::shared_ptr<Job> job = std::move(workers_->in_flight.front());
    workers_->in_flight.pop_front();
    std::unique_lock lock(workers_->mutex);
    workers_->job_is_done.wait(lock, [&] { return job->done; });
    if (job->error)
        std::rethrow_exception(job->error);
    return std::move(job->batch);
}

} // namespace sluice
