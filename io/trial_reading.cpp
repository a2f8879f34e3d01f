#include "io/trial_reading.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice {

namespace {

constexpr rlim_t most_seconds = 60;     // of processor time
constexpr unsigned longest_wait = 1800; // by the clock: file systems can be slow
constexpr rlim_t most_bytes = rlim_t{4} << 30;

/// `beyond`: how much further the system lets it get before it kills without a choice.
void limit(int resource, rlim_t most, rlim_t beyond = 0)
{
    const struct rlimit value {
        most, most + beyond
    };
    ::setrlimit(static_cast<__rlimit_resource>(resource), &value);
}

/// Bytes of address space of this process; 0 where the system does not tell.
rlim_t address_space_bytes()
{
    std::array<char, 64> text{};
    const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    const ssize_t got = ::read(file, text.data(), text.size() - 1);
    ::close(file);
    unsigned long long pages = 0;
    if (got <= 0 || std::sscanf(text.data(), "%llu", &pages) != 1)
        return 0;
    return static_cast<rlim_t>(pages) * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

/// What a UserError is made of, with a NUL behind each part.
std::string packed(const UserError& error)
{
    std::string text = std::to_string(static_cast<int>(error.code())) + '\0';
    for (const std::string& part : {error.problem(), error.where(), error.remedy()})
        (text += part) += '\0';
    return text;
}

UserError unpacked(std::string_view text)
{
    std::array<std::string, 4> parts;
    for (std::string& part : parts) {
        part = text.substr(0, text.find('\0'));
        text.remove_prefix(std::min(part.size() + 1, text.size()));
    }
    return {static_cast<ExitCode>(std::atoi(parts[0].c_str())), parts[1], parts[2], parts[3]};
}

void write_all(int file, std::string_view text)
{
    while (!text.empty()) {
        const ssize_t done = retried([&] { return ::write(file, text.data(), text.size()); });
        if (done <= 0)
            return;
        text.remove_prefix(static_cast<std::size_t>(done));
    }
}

std::string read_all(int file)
{
    std::string text;
    std::array<char, 4096> piece;
    for (;;) {
        const ssize_t got = retried([&] { return ::read(file, piece.data(), piece.size()); });
        if (got <= 0)
            return text;
        text.append(piece.data(), static_cast<std::size_t>(got));
    }
}

/// The child: dies with its parent, without a core file and without the messages that libraries and
/// signal handlers of the launcher print over a crash. What it refuses it tells through `answer`.
[[noreturn]] void run_child(const std::function<void()>& read, int answer)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU, SIGALRM})
        ::signal(number, SIG_DFL);
    ::alarm(longest_wait);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, most_seconds, 5); // SIGXCPU at the limit: SIGKILL is not ours
    if (const rlim_t now = address_space_bytes(); now > 0)
        limit(RLIMIT_AS, now + most_bytes);
    if (const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC); nowhere >= 0) {
        ::dup2(nowhere, STDOUT_FILENO);
        ::dup2(nowhere, STDERR_FILENO);
    }
    try {
        read();
    } catch (const UserError& error) {
        write_all(answer, packed(error));
    } catch (...) {
        ::_exit(1); // no memory, most likely
    }
    ::_exit(0);
}

/// What a file can do to the process that reads it.
std::string ending(int status)
{
    if (!WIFSIGNALED(status))
        return "ended the process";
    if (const int number = WTERMSIG(status); number == SIGXCPU || number == SIGALRM)
        return "did not come to an end";
    return std::string("crashed (") + ::strsignal(WTERMSIG(status)) + ")";
}

/// By somebody else: the system when memory is short, an administrator, a batch system.
bool killed_from_outside(int status)
{
    constexpr std::array ours{SIGSEGV, SIGBUS,  SIGABRT, SIGFPE,  SIGILL, SIGSYS,
                              SIGTRAP, SIGPIPE, SIGXCPU, SIGXFSZ, SIGALRM};
    return WIFSIGNALED(status) &&
           std::find(ours.begin(), ours.end(), WTERMSIG(status)) == ours.end();
}

} // namespace

void read_on_trial(const std::string& where, std::string_view library,
                   const std::function<void()>& read)
{
    std::array<int, 2> answer{};
    if (::pipe2(answer.data(), O_CLOEXEC) != 0)
        return;
    const pid_t child = ::fork();
    if (child == 0)
        run_child(read, answer[1]);
    ::close(answer[1]);
    const std::string refusal = child > 0 ? read_all(answer[0]) : std::string();
    ::close(answer[0]);
    if (child < 0)
        return; // no memory or no processes left: as good as it was without a trial
    int status = 0;
    if (retried([&] { return ::waitpid(child, &status, 0); }) < 0)
        return;
    if (status == 0 && !refusal.empty())
        throw unpacked(refusal);
    // No UserError: a caller would take the file for damaged and go on with another.
    if (killed_from_outside(status))
        throw PeerError(where + ": the child process that read it first was killed from outside (" +
                        ::strsignal(WTERMSIG(status)) +
                        "), which says nothing about the file; the system does that when memory is "
                        "short (see dmesg): run the same command again");
    if (status != 0)
        throw data_error("reading it in a child process, the " + std::string(library) +
                             " library " + ending(status) + ": the file is damaged or forged",
                         where, "do not use this file; restore or remake it");
}

} // namespace sluice
