#include "tests/emulated_gpu/emulated_memory.hpp"

#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/cuda/memory.hpp"
#include "core/error.hpp"
#include "core/host_ring.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

struct Death {
    int signal = 0; ///< 0: it did not die
    std::string text;
};

/// What becomes of a child that does it, and what it says on standard error.
Death death_of(const std::function<void()>& work)
{
    int ends[2];
    BOOST_REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        work();
        _exit(0);
    }
    close(ends[1]);
    Death death;
    char buffer[4096];
    for (ssize_t count = 0; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
        death.text.append(buffer, static_cast<std::size_t>(count));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    death.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return death;
}

volatile char sink;

/// Sets an environment variable while it lives.
struct Setting {
    Setting(const char* variable, const char* value) : name(variable) { setenv(name, value, 1); }
    ~Setting() { unsetenv(name); }
    const char* name;
};

bool holds(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(emulated_memory)

BOOST_AUTO_TEST_CASE(a_host_that_touches_memory_of_a_gpu_dies_and_says_why)
{
    use_gpu(0);
    for (const bool writes : {false, true}) {
        const Death death = death_of([writes] {
            const DeviceMemory memory(1000);
            auto* bytes = static_cast<volatile char*>(memory.data());
            if (writes)
                bytes[77] = 1;
            else
                sink = bytes[77];
        });
        BOOST_TEST(death.signal == SIGSEGV);
        BOOST_TEST(holds(death.text, "the host touched memory of GPU 0: byte 77 of a block of "
                                     "1000 bytes"),
                   death.text);
    }
    BOOST_TEST(death_of([] { sink = *static_cast<char*>(PinnedMemory(10).data()); }).signal == 0);
}

BOOST_AUTO_TEST_CASE(memory_is_closed_again_behind_a_copy)
{
    const GpuStream stream(use_gpu(0));
    const DeviceMemory memory(256);
    std::vector<char> bytes(256, 1);
    stream.copy(memory.data(), bytes.data(), bytes.size());
    stream.synchronize();
    BOOST_TEST(death_of([&] { sink = *static_cast<char*>(memory.data()); }).signal == SIGSEGV);
}

BOOST_AUTO_TEST_CASE(who_goes_past_the_end_dies_and_is_named)
{
    use_gpu(0);
    const DeviceMemory memory(512);
    const Death death = death_of([&] {
        const DeviceAccess access;
        DeviceAccess::say("AKernel");
        std::memset(memory.data(), 0, 512); // as long as it likes inside
        static_cast<volatile char*>(memory.data())[512] = 0;
    });
    BOOST_TEST(death.signal == SIGSEGV);
    BOOST_TEST(holds(death.text, "AKernel touched byte 512 of a block of 512 bytes of GPU 0"),
               death.text);
}

BOOST_AUTO_TEST_CASE(other_faults_are_left_to_others)
{
    use_gpu(0);
    const Death death = death_of([] {
        const DeviceMemory memory(512);
        std::signal(SIGSEGV, SIG_DFL);
        const DeviceMemory watched(512);
        // Not a null pointer, which the sanitizers would stop before it faults.
        void* nowhere = mmap(nullptr, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        *static_cast<volatile char*>(nowhere) = 1;
    });
    BOOST_TEST(death.signal == SIGSEGV);
    BOOST_TEST(!holds(death.text, "emulated GPU"), death.text);
}

BOOST_AUTO_TEST_CASE(fresh_memory_is_full_of_nans)
{
    const GpuStream stream(use_gpu(0));
    const DeviceMemory memory(64 * sizeof(float));
    std::vector<float> seen(64, 0.0F);
    stream.copy(seen.data(), memory.data(), memory.num_bytes());
    for (const float value : seen)
        BOOST_TEST(std::isnan(value));
    const PinnedMemory pinned(sizeof(double));
    BOOST_TEST(std::isnan(*static_cast<double*>(pinned.data())));
}

BOOST_AUTO_TEST_CASE(memory_runs_out_and_comes_back)
{
    const Setting bytes("SLUICE_EMULATED_GPU_BYTES", "4194304");
    use_gpu(0);
    BOOST_TEST(free_gpu_bytes() == 4u << 20);
    {
        const DeviceMemory most(3u << 20);
        BOOST_TEST(free_gpu_bytes() == 1u << 20);
        BOOST_CHECK_EXCEPTION(DeviceMemory(2u << 20), UserError, [](const UserError& error) {
            return error.code() == ExitCode::usage &&
                   error.problem() == "cannot reserve 2 MiB on the GPU, which has 1 MiB free";
        });
    }
    BOOST_TEST(free_gpu_bytes() == 4u << 20);
}

BOOST_AUTO_TEST_CASE(as_many_gpus_as_asked_for_and_visible)
{
    BOOST_TEST(num_gpus() == 1);
    const Setting two("SLUICE_EMULATED_GPUS", "2");
    BOOST_TEST(num_gpus() == 2);
    use_gpu(1);
    const DeviceMemory memory(256);
    BOOST_TEST(EmulatedMemory::of_process().find(memory.data(), 256)->gpu == 1);
    use_gpu(0);
    BOOST_CHECK_THROW(use_gpu(2), UserError);
    const Setting none("CUDA_VISIBLE_DEVICES", "");
    BOOST_TEST(num_gpus() == 0);
    BOOST_TEST(why_no_gpu() == "no GPU is visible");
    BOOST_CHECK_THROW(use_gpu(0), UserError);
}

BOOST_AUTO_TEST_CASE(a_copy_past_the_end_of_a_block_is_refused)
{
    const GpuStream stream(use_gpu(0));
    const DeviceMemory memory(256);
    std::vector<char> bytes(512);
    BOOST_CHECK_THROW(stream.copy(memory.data(), bytes.data(), 257), EmulationError);
    BOOST_CHECK_THROW(stream.copy(bytes.data(), memory.data(), 257), EmulationError);
    stream.copy(bytes.data(), memory.data(), 256);
}

BOOST_AUTO_TEST_CASE(memory_that_queued_work_uses_is_not_freed)
{
    enum class Freed { source, target };
    const auto death = [](Freed freed, const std::function<void(const GpuStream&)>& between) {
        return death_of([&] {
            const GpuStream stream(use_gpu(0));
            auto target = std::make_unique<DeviceMemory>(256);
            auto source = std::make_unique<PinnedMemory>(300);
            stream.copy(target->data(), source->data(), 256);
            between(stream);
            if (freed == Freed::source)
                source.reset();
            else
                target.reset();
            stream.synchronize();
        });
    };
    const Death source = death(Freed::source, [](const GpuStream&) {});
    BOOST_TEST(source.signal == SIGABRT);
    BOOST_TEST(holds(source.text, "300 bytes are freed that copy (source) reads"), source.text);
    const Death target = death(Freed::target, [](const GpuStream& stream) {
        GpuEvent event; // nobody waits for it
        event.record(stream.stream());
    });
    BOOST_TEST(target.signal == SIGABRT);
    BOOST_TEST(holds(target.text, "256 bytes are freed that copy (target) writes"), target.text);
    for (const Freed freed : {Freed::source, Freed::target}) {
        const Death waited = death(freed, [](const GpuStream& stream) { stream.synchronize(); });
        BOOST_TEST(waited.signal == 0, waited.text);
        const Death by_event = death(freed, [](const GpuStream& stream) {
            GpuEvent event;
            event.record(stream.stream());
            event.wait();
        });
        BOOST_TEST(by_event.signal == 0, by_event.text);
    }
}

BOOST_AUTO_TEST_CASE(while_an_exception_is_on_its_way_memory_is_freed_all_the_same)
{
    const Death death = death_of([] {
        const GpuStream stream(use_gpu(0));
        try {
            const DeviceMemory target(256);
            const PinnedMemory source(256);
            stream.copy(target.data(), source.data(), 256);
            throw std::runtime_error("half way");
        } catch (const std::runtime_error&) {
            stream.synchronize();
        }
    });
    BOOST_TEST(death.signal == 0, death.text);
}

/// What is uploaded through a ring that goes at once.
void upload_by_a_ring(const GpuStream& stream, const DeviceMemory& to)
{
    HostRing ring(stream.stream(), to.num_bytes());
    ring.upload({to.data(), DType::i32, {64}, stream.stream().device},
                [](const TensorView& row) { std::memset(row.data, 1, row.num_bytes()); });
}

BOOST_AUTO_TEST_CASE(a_ring_waits_for_its_copies_before_it_goes)
{
    const Death death = death_of([] {
        const GpuStream stream(use_gpu(0));
        const DeviceMemory to(256);
        upload_by_a_ring(stream, to);
        stream.synchronize();
    });
    BOOST_TEST(death.signal == 0, death.text);
}

BOOST_AUTO_TEST_CASE(after_an_error_a_ring_waits_for_nobody)
{
    const Death death = death_of([] {
        alarm(60);
        const GpuStream stream(use_gpu(0));
        const DeviceMemory to(256);
        WorkQueues::of_process().add(
            *static_cast<WorkQueue*>(stream.native()), "Receive", [] {}, [] { return false; });
        try {
            HostRing ring(stream.stream(), to.num_bytes());
            ring.upload({to.data(), DType::i32, {64}, stream.stream().device},
                        [](const TensorView&) {});
            throw std::runtime_error("a message does not come");
        } catch (const std::runtime_error&) {
            _exit(0); // what is left waits for the message
        }
    });
    BOOST_TEST(death.signal == 0, death.text);
}

BOOST_AUTO_TEST_SUITE_END()
