#include "src/cli/output_relay.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice {

namespace {

bool has_a_reader(int descriptor)
{
    struct stat about = {};
    return fstat(descriptor, &about) == 0 && (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode));
}

/// False once the reader has left.
bool write_all(int descriptor, const char* data, ssize_t size)
{
    while (size > 0) {
        const ssize_t written =
            retried([&] { return write(descriptor, data, static_cast<std::size_t>(size)); });
        if (written < 0)
            return false;
        data += written;
        size -= written;
    }
    return true;
}

[[noreturn]] void pass_on(int from, int to)
{
    setpgid(0, 0);
    std::signal(SIGPIPE, SIG_IGN);
    std::array<char, 65536> buffer;
    bool heard = true;
    for (;;) {
        const ssize_t size = retried([&] { return read(from, buffer.data(), buffer.size()); });
        if (size <= 0)
            _exit(0);
        heard = heard && write_all(to, buffer.data(), size);
    }
}

} // namespace

OutputRelay::OutputRelay()
{
    for (const int descriptor : {STDOUT_FILENO, STDERR_FILENO})
        if (has_a_reader(descriptor))
            start(descriptor);
}

OutputRelay::~OutputRelay()
{
    for (const Stream& stream : streams_)
        if (stream.pipe_end >= 0)
            close(stream.pipe_end);
}

void OutputRelay::start(int descriptor)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        throw usage_error(std::string("cannot open a pipe: ") + std::strerror(errno), "--ranks");
    const pid_t process = fork();
    if (process < 0)
        throw usage_error(std::string("cannot start a process: ") + std::strerror(errno),
                          "--ranks");
    if (process == 0) {
        // A writing end that is held here would keep its reader from ever seeing the end.
        close(ends[1]);
        for (const Stream& earlier : streams_)
            close(earlier.pipe_end);
        // Nor may this process hold what it does not write to: a reader waits for its end, too.
        if (const int other = STDOUT_FILENO + STDERR_FILENO - descriptor; has_a_reader(other))
            close(other);
        pass_on(ends[0], descriptor);
    }
    close(ends[0]);
    streams_.push_back({descriptor, ends[1], process});
}

void OutputRelay::attach() const
{
    for (const Stream& stream : streams_)
        dup2(stream.pipe_end, stream.descriptor);
}

void OutputRelay::finish()
{
    for (Stream& stream : streams_) {
        close(stream.pipe_end);
        stream.pipe_end = -1;
    }
    // Where ranks have outlived mpirun, the end does not come.
    for (const Stream& stream : streams_)
        for (int tries = 0; tries < 500 && waitpid(stream.process, nullptr, WNOHANG) == 0; ++tries)
            usleep(10'000);
    streams_.clear();
}

} // namespace sluice
