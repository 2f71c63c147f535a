from loopai_runtime.cli.main import main

main()
