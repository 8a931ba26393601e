from opus_controller.cli import main

main()
